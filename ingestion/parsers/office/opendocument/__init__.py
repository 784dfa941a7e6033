"""Reads OpenDocument: texts (ODT), spreadsheets (ODS) and presentations (ODP)."""
