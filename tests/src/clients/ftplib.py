"""HOST PORT USER PASSWORD MODE TASK REMOTE LOCAL: does one task with ftplib, shows the commands."""

import ftplib
import os
import socket
import sys

host, port, user, password, mode, task, remote, local = sys.argv[1:9]


class Client(ftplib.FTP):
    """ftplib takes the mode from the address family; the tests want either over IPv4."""

    def makepasv(self):
        if mode == "PASV":
            self.trust_server_pasv_ipv4_address = True
            return ftplib.parse227(self.sendcmd("PASV"))
        return ftplib.parse229(self.sendcmd("EPSV"), self.sock.getpeername())

    def makeport(self):
        listener = socket.create_server((self.sock.getsockname()[0], 0), family=self.af, backlog=1)
        send = self.sendport if mode == "PORT" else self.sendeprt
        send(*listener.getsockname()[:2])
        listener.settimeout(self.timeout)
        return listener


ftp = Client(timeout=30)
ftp.set_debuglevel(1)
ftp.connect(host, int(port))
ftp.login(user, password)
ftp.set_pasv(mode in ("PASV", "EPSV"))

if task == "download":
    with open(local, "xb") as file:
        ftp.retrbinary(f"RETR {remote}", file.write)
elif task == "resume-download":
    with open(local, "ab") as file:
        ftp.retrbinary(f"RETR {remote}", file.write, rest=os.path.getsize(local))
elif task == "upload":
    with open(local, "rb") as file:
        ftp.storbinary(f"STOR {remote}", file)
elif task.startswith("resume-upload:"):
    held = int(task.split(":")[1])
    with open(local, "rb") as file:
        file.seek(held)
        ftp.storbinary(f"STOR {remote}", file, rest=held)
elif task == "list":
    ftp.retrlines(f"LIST {remote}")
else:
    sys.exit(f"unknown task {task}")
ftp.quit()
