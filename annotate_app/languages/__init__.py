"""The interface's texts, a language a file; `words` reads them."""
