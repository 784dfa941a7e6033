"""PDF by PDFium: characters with their places become lines, columns, paragraphs, headings and tables."""
