"""Samples to figures, by pure functions.

sample      the packets of one session, and the four delays of each
incidents   what happened to a session beside its packets
values      how values in nanoseconds are distributed: one set of questions, exact or to 0.1 %
histogram   counts of values by bucket, for measurements that have no end
columns     what has to be known of one session's packets, column by column
figures     Metrics: all that is reported, of a session, of several together, or of an interval
validity    which figures cannot be true, or cannot be known, and why
measure     measure() and Results: a run, measured once
tally       figures that can be added up, of samples that need not be kept
interval    one interval of a continuous measurement
cut         a session in parts, by packets or by time
threshold   whether figures are beyond what the user allows
"""
