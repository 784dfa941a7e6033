"""The comparison of `tandem bench`: embeds and indexes texts as LangChain's documentation shows, then searches.

A program: reads {"model", "texts", "queries"} as JSON from standard input, writes the times as JSON to standard output.
"""

import json
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from langchain_huggingface import HuggingFaceEmbeddings
from langchain_milvus import Milvus

work = json.load(sys.stdin)
# The prefixes that a model was trained with stand in its folder; those of other models are empty.
embeddings = HuggingFaceEmbeddings(
    model_name=work["model"],
    encode_kwargs={"prompt_name": "document"},
    query_encode_kwargs={"prompt_name": "query"},
)
embeddings.embed_documents(work["texts"][:64])
with TemporaryDirectory() as folder:
    started = perf_counter()
    store = Milvus.from_texts(work["texts"], embeddings, connection_args={"uri": str(Path(folder) / "lite.db")})
    ingest_seconds = perf_counter() - started
    searches = []
    for query in work["queries"]:
        started = perf_counter()
        store.similarity_search(query, k=10)
        searches.append((perf_counter() - started) * 1000)
json.dump({"ingest_seconds": ingest_seconds, "search_ms": median(searches)}, sys.stdout)
