"""Programs that measure what Tandem is compared with: the bare engine, and LangChain's usual way."""
