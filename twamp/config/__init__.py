"""Options of the programs, the files they come from, and how a program starts.

row         an option as a row: default, range, help; reading and checking a value
readers     how the text or TOML of an option becomes its value
reflector   options of twampd
ping        options of twping
arguments   the command line, made from the rows
text_file   files that are read in a bounded time and size
toml_text   the tables of a TOML file, and the line of each key
toml_file   twampd.toml and its drop-in directory
users       user names and passphrases
classes     classes of clients, and the limits of each
target      the host that twping measures
program     starts and ends a program: its standard streams, and Ctrl-C while it loads
"""
