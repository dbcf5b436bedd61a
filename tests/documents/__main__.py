"""``python -m tests.documents``: refreshes the generated parts of all documents."""

from tests.documents.blocks import PAGES, refreshed


def main() -> None:
    for page in PAGES:
        text = page.read_text()
        fresh = refreshed(page, text)
        if fresh != text:
            page.write_text(fresh)
            print(f"refreshed {page}")


if __name__ == "__main__":
    main()
