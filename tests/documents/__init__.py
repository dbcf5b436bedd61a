"""The documents: README, manual pages and the READMEs of the rooms.

blocks     the generated parts of each page, and where they stand
roff       options and other tables as text of a manual page
examples   the examples of a page: commands, programs and configurations
__main__   ``python -m tests.documents`` refreshes the generated parts
"""
