"""Ids in paths: any text, with slashes and line breaks."""

from starlette.convertors import PathConvertor, register_url_convertor


class IdConvertor(PathConvertor):
    """Starlette's `path` ends before a line break: a path with one would have no route, and an id that ends with one
    would be taken for another.
    """

    regex = "(?s:.*)"


register_url_convertor("id", IdConvertor())

DOCUMENT, FILE, MODEL = "{document_id:id}", "{file_id:id}", "{model:id}"
