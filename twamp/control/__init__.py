"""TWAMP-Control over TCP, both ends.

::

    client          the Control-Client: asks a Server for test sessions
    dial            opening the TCP connection to a Server
    server          the Server: listens, and owns the connections
    listeners       the sockets that it listens on
    acceptor        accepts the connections that come to them
    turns           deals the turns of the event loop to clients
    admission       which clients may connect, and how many at once
    connection      one connection of a client, from the greeting to its end
    channel         its octets, in small pieces
    authenticator   the users' passphrases, in the secured modes
    requests        judging a Request-TW-Session
    sessions        the life of the test sessions that were granted
    lingering       the sessions among them that wait for their Timeout
    ports           the pool of their UDP ports
"""
