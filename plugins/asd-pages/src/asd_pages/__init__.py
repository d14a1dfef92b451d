"""What reports share: self-contained HTML pages, interactive charts, spectrograms, audio players.

`asd_pages.page`
    A page and its parts; everything that is not `Html` is escaped.
`asd_pages.charts`
    Vega-Lite specifications in a page, or as SVG and PDF.
`asd_pages.pictures`
    Spectrograms with axes and outlined regions, and thumbnails.
`asd_pages.sound`
    Short sounds for players.
"""
