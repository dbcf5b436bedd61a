"""twampd: a TWAMP Server and Session-Reflector that an operator can live with.

__main__        the command line, signals, privileges
settings        options, users and their origins; what a reload changes
build           sockets, metrics, stamping and the engine, made before anything is served
responder       the life of a responder: serve, reload, drain, stop, watch
light           test sessions without TWAMP-Control
interface_loss  an interface that goes, and comes back
watch           notices changes of the clock, the interface and the engine's loop
state           the shape of the state that twampctl and the exporter read
state_reader    reads the state of a running responder
status_socket   answers twampctl on a UNIX socket
exporter        counters for Prometheus
yang            the state in the terms of RFC 8913
logs            format and amount of the log
systemd         readiness, watchdog, inherited sockets, the unit
"""
