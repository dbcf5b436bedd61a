"""Continuous measurement of one or many targets.

watch     measures one target, interval by interval, and reconnects
backoff   the waits before a target that went away is tried again
monitor   all targets together: their reports, and their metrics for Prometheus
targets   the file of targets, modules and probes
command   from options and a file to a monitor that is ready to run
forms     text, JSON or rows of each interval and of the totals
output    where reports go: a stream, or a file that is rotated
exporter  counters and histograms for Prometheus
probe     one short measurement on request
outcome   the exit codes
"""
