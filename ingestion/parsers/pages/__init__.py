"""Documents that are pages: PDF files and pictures, with OCR for what has no text of its own."""
