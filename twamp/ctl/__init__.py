"""twampctl: shows and checks a running responder.

__main__   the command line and the commands
ask        asks a responder for its state
layout     the screens: the state as lines of text
hwtstamp   checks the timestamps of a network card
"""
