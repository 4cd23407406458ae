"""Pages that stand alone: SVG charts, HTML and the words of figures."""
