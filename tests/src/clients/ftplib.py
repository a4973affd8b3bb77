"""HOST PORT USER PASSWORD MODE TASK REMOTE LOCAL TLS: does one task with ftplib, shows the commands."""

import ftplib
import os
import socket
import ssl
import sys

host, port, user, password, mode, task, remote, local, tls = sys.argv[1:10]


class Client(ftplib.FTP if tls == "clear" else ftplib.FTP_TLS):
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

    def connect(self, host, port):
        if ":implicit:" not in tls:
            return super().connect(host, port)
        self.host, self.port = host, port
        plain = socket.create_connection((host, port), self.timeout)
        self.sock = self.context.wrap_socket(plain, server_hostname=host)
        self.af = self.sock.family
        self.file = self.sock.makefile("r", encoding=self.encoding)
        self.welcome = self.getresp()
        return self.welcome

    def ntransfercmd(self, cmd, rest=None):
        if not tls.endswith(":resume"):
            return super().ntransfercmd(cmd, rest)
        # ftplib alone begins a new TLS session for each data connection.
        conn, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        session = self.sock.session
        return self.context.wrap_socket(conn, server_hostname=self.host, session=session), size


if tls == "clear":
    ftp = Client(timeout=30)
else:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    version = ssl.TLSVersion.TLSv1_2 if tls.startswith("1.2") else ssl.TLSVersion.TLSv1_3
    context.minimum_version = context.maximum_version = version
    ftp = Client(context=context, timeout=30)
ftp.set_debuglevel(1)
ftp.connect(host, int(port))
ftp.login(user, password)
if tls != "clear":
    ftp.prot_p()
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
