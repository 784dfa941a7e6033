"""Formats Office formulas as a line of text: fractions, powers, indices and roots (pure)."""

from ingestion.parsers.office.package import Element


def formula(element: Element) -> str:
    """Returns `(a+b)/2`, `x^2`, `x_1`, `√(x)`; other elements as their characters in order."""

    def part(name: str) -> str:
        found = element.find(name)
        return "" if found is None else _grouped(formula(found))

    match element.tag:
        case "t":
            return element.text or ""
        case "f":
            return f"{part('num')}/{part('den')}"
        case "sSup":
            return f"{part('e')}^{part('sup')}"
        case "sSub":
            return f"{part('e')}_{part('sub')}"
        case "sSubSup":
            return f"{part('e')}_{part('sub')}^{part('sup')}"
        case "rad":
            return f"{part('deg')}√{part('e')}"
        case "nary":
            properties = element.find("naryPr/chr")
            sign = "∫" if properties is None else properties.get("val", "")
            low, high = part("sub"), part("sup")
            return f"{sign}{f'_{low}' if low else ''}{f'^{high}' if high else ''} {part('e')}"
        case "d":
            return f"({', '.join(formula(each) for each in element.findall('e'))})"
        case _:
            return "".join(formula(child) for child in element)


def _grouped(text: str) -> str:
    return text if len(text) < 2 or text.isalnum() or (text[0] == "(" and text[-1] == ")") else f"({text})"
