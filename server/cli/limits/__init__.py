"""The limits that `ostiary limits` prints and `docs/operate/limits.md` shows.

A limit is enforced where its constant stands. A row names that constant, so that the page says what the code does.
Each file has the rows of one subject, `shares` the rows of shares; `table` puts them in the order of the page, and
`markdown` prints them.
"""
