"""Files to chunks to vectors in the store. Builds on `retrieval`; knows no HTTP."""
