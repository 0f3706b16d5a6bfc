"""A mail server for tests: aiosmtpd, which keeps what it takes as lines of JSON.

usage: server.py FILE [CERTIFICATE KEY]. With a certificate it wants STARTTLS, and then a login as
`kiln` with `s3cret`. It prints its port, and ends with its standard input.
"""

import json
import logging
import ssl
import sys

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult


class Keep:
    def __init__(self, path):
        self.path = path
        self.full = 1

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("unknown@"):
            return "550 nobody of that name"
        if address.startswith("full@") and self.full:
            self.full -= 1
            return "452 full, for now"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_exception(self, error):
        return "421 gone"

    async def handle_DATA(self, server, session, envelope):
        mail = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "data": envelope.content.decode(),
            "tls": session.ssl is not None,
        }
        # Before the answer, so that whoever got it finds the mail.
        with open(self.path, "a") as file:
            file.write(json.dumps(mail) + "\n")
        return "250 kept"


def login(server, session, envelope, mechanism, data):
    fine = (data.login, data.password) == (b"kiln", b"s3cret")
    # The server is to say so.
    return AuthResult(success=fine, handled=False)


# That a client does not trust it is what some tests are about.
logging.getLogger("mail.log").setLevel(logging.CRITICAL)
options = {}
if len(sys.argv) > 2:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    options = {
        "tls_context": context,
        "require_starttls": True,
        "auth_required": True,
        "authenticator": login,
    }


class Started(Controller):
    """Its port is chosen by the system, and so not known before it is tried."""

    def _trigger_server(self):
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


controller = Started(Keep(sys.argv[1]), hostname="127.0.0.1", port=0, **options)
controller.start()
print(controller.port, flush=True)
sys.stdin.read()
controller.stop()
