"""PORT [MPTCP]: one session after the other, each doing to its data ports what its client asks for.

LISTEN PORT   listens on the control connection's address
ALL PORT      listens on all addresses
MPTCP PORT    the same for Multipath TCP
TWICE PORT    two sockets with one address and port: the second's listen(2) must fail
FORK          leaves the listener to a child, which serves one connection
SERVE         accepts one connection, sends "data" and closes it
CLOSE         closes the listener
"""

import errno
import os
import socket
import sys

MPTCP = 262


def bound(address, port, family, protocol=0):
    made = socket.socket(family, socket.SOCK_STREAM, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((address, port))
    return made


def serve(listener):
    data, _ = listener.accept()
    data.sendall(b"data")
    data.close()


def session(control):
    listener, second = None, None

    def reply(text):
        control.sendall(f"{text}\r\n".encode())

    address = control.getsockname()[0].removeprefix("::ffff:")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    reply("220 ready")
    for line in control.makefile("r", newline="\r\n"):
        word, _, argument = line.strip().partition(" ")
        if word in ("LISTEN", "MPTCP"):
            listener = bound(address, int(argument), family, MPTCP if word == "MPTCP" else 0)
            listener.listen(5)
        elif word == "ALL":
            listener = bound("", int(argument), family)
            listener.listen(5)
        elif word == "TWICE":
            listener, second = (bound(address, int(argument), family) for _ in range(2))
            listener.listen(5)
            try:
                second.listen(5)
                reply("500 both listen")
                continue
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
        elif word == "FORK":
            if os.fork() == 0:
                control.close()
                # The child's copy too, which the parent's makefile keeps open.
                os.closerange(control_fd, control_fd + 1)
                serve(listener)
                os._exit(0)
            listener.close()
        elif word == "SERVE":
            serve(listener)
        elif word == "CLOSE":
            listener.close()
        else:
            reply("500 what?")
            continue
        reply("200 done")


protocol = MPTCP if sys.argv[2:] == ["MPTCP"] else 0
incoming = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, protocol)
incoming.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
incoming.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
incoming.bind(("::", int(sys.argv[1])))
incoming.listen(16)
while True:
    control, _ = incoming.accept()
    control_fd = control.fileno()
    try:
        session(control)
    except OSError as error:
        print(error, flush=True)
    control.close()
