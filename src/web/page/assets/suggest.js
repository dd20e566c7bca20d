// Which phrases go with what is being written.

const MOST = 6;

/**
 * The phrases in which each written word begins a word, those that begin as it was written first.
 *
 * @param {string} text
 * @param {Iterable<string>} phrases the better first
 * @param {Iterable<string>} names of containers, to complete the last word
 * @returns {string[]}
 */
export function matching(text, phrases, names) {
  const written = text.trim().toLowerCase();
  if (written === "" || text.includes("\n")) return [];
  const words = written.split(/\s+/);
  const begins = [];
  const contains = [];
  for (const phrase of phrases) {
    const lower = phrase.toLowerCase();
    if (lower === written) continue;
    if (lower.startsWith(written)) begins.push(phrase);
    else if (words.every((word) => lower.startsWith(word) || lower.includes(` ${word}`))) contains.push(phrase);
  }
  return [...new Set([...begins, ...completions(text, names), ...contains])].slice(0, MOST);
}

/**
 * @param {string} text
 * @param {Iterable<string>} names
 */
function completions(text, names) {
  const [, before, last] = /^(.*\s)(\S+)$/.exec(text) ?? [];
  if (!last) return [];
  return [...names].filter((name) => name !== last && name.startsWith(last)).map((name) => before + name);
}
