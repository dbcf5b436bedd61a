"""The protocol of TWAMP-Control and TWAMP-Test: pure functions of octets and time, without I/O.

::

    registries         the numbers that IANA has registered: Accept, Command, Modes
    message            the bases of every message and packet
    control_messages   every TWAMP-Control message
    states             the states of a control connection, and the table of transitions
    framing            the octets of a peer, cut into messages
    conversation       a control connection, seen from one end
    crypto             the encryption and the HMACs of the secured modes
    packets            every TWAMP-Test packet
    reflect            the reply to a test packet
    schedule           the send times of test packets
    timestamps         NTP and PTP time, and the Error Estimate
"""
