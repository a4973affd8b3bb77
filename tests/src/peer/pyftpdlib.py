"""PORT FIRST LAST USER PASSWORD ROOT [NAME=VALUE]...: one process, all sessions; attributes of the handler."""

import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer

port, first, last, user, password, root, *extra = sys.argv[1:]

FTPHandler.authorizer = DummyAuthorizer()
FTPHandler.authorizer.add_user(user, password, root, perm="elradfmwMT")
FTPHandler.passive_ports = range(int(first), int(last) + 1)
for setting in extra:
    name, value = setting.split("=")
    setattr(FTPHandler, name, value == "True")
FTPServer(("::", int(port)), FTPHandler).serve_forever()
