"""The measuring program, twping.

__main__       the program: its exit code, its signals and its event loop
__main__       the program: signals, and one run, a continuous measurement, or a saved run
command_line   what the command line asks for
sessions       test sessions over TWAMP-Control, and their Session-Senders
run            one finite run, or as much of it as there is when it is interrupted
causes         why packets did not come back, and what to do about it
output         the report that the options ask for, and the exit code
summary_files  a file for each summary (-p)
path           measure_path, the front door of the library
target         the two ends of a measurement
loopback       a responder inside the program
progress       the progress of a long run, on a terminal
credentials    accepted modes and the user's passphrase
"""
