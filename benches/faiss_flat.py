"""FAISS's flat index, which compares a question with every vector, in numbers of four bytes: what benches/search.rs is held
against. Run with two files of vectors, those that are searched and the questions; reads the number of a question from each
line, and prints how long its ten nearest took, in nanoseconds, and their numbers. One thread.
"""
import sys
import time

import faiss
import numpy

DIMENSIONS = 384


def read(path):
    return numpy.fromfile(path, dtype="<f4").reshape(-1, DIMENSIONS)


faiss.omp_set_num_threads(1)
index = faiss.IndexFlatIP(DIMENSIONS)
index.add(read(sys.argv[1]))
questions = read(sys.argv[2])
print("ready", flush=True)
for line in sys.stdin:
    question = questions[int(line)][None]
    start = time.perf_counter_ns()
    _, found = index.search(question, 10)
    took = time.perf_counter_ns() - start
    print(took, *found[0], flush=True)
