"""One HTML page that needs nothing beside it."""

import html

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: {width}rem; margin: 2rem auto; padding: 0 1rem; color: #222 }}
table {{ border-collapse: collapse; margin: 1rem 0 }}
th, td {{ padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #ddd }}
th:first-child, td:first-child {{ text-align: left }}
pre {{ overflow-x: auto; background: #f6f6f6; padding: 1rem; font-size: 13px }}
</style></head><body>
<h1>{title}</h1>
{body}
</body></html>
"""


def page(title: str, body: str, width: int = 62) -> str:
    """Return a page of this title, in words, and this body, in HTML; `width` in rem."""
    return PAGE.format(title=html.escape(title), body=body, width=width)
