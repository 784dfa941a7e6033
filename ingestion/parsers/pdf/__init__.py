"""Reads PDF with PDFium: characters with their positions become lines, columns, paragraphs, headings and tables."""
