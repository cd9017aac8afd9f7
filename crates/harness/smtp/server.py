"""A real SMTP server for tests: keeps every mail as one JSON line.

Argument: the path of a JSON file with hostname, certificate, key, user, password, mailbox, and the ports plain_port,
starttls_port and tls_port. On the plain port nobody needs to log in; on the STARTTLS port both STARTTLS and AUTH are demanded;
the TLS port speaks TLS from the first byte and demands AUTH.

A recipient whose name begins with "refuse" is refused for good (550), one that begins with "later" for now (451).
"""

import asyncio
import json
import ssl
import sys
from email import message_from_bytes, policy

from aiosmtpd.smtp import SMTP, AuthResult


class Mailbox:
    def __init__(self, path, port_name):
        self.path = path
        self.port_name = port_name

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("refuse"):
            return "550 5.1.1 no such mailbox here"
        if address.startswith("later"):
            return "451 4.3.0 try again later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        message = message_from_bytes(envelope.content, policy=policy.default)
        body = message.get_body(preferencelist=("plain", "html"))
        line = json.dumps(
            {
                "from": envelope.mail_from,
                "to": envelope.rcpt_tos,
                "subject": str(message["subject"] or ""),
                "body": body.get_content().replace("\r\n", "\n") if body else "",
                "headers": [[name, str(value)] for name, value in message.items()],
                "port": self.port_name,
            }
        )
        with open(self.path, "a", encoding="utf-8") as mailbox:
            mailbox.write(line + "\n")
        return "250 OK: kept"


async def main(config):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(config["certificate"], config["key"])

    def authenticate(server, session, envelope, mechanism, data):
        right = (data.login, data.password) == (config["user"].encode(), config["password"].encode())
        # Not handled here: aiosmtpd then sends the refusal itself.
        return AuthResult(success=right, handled=False)

    ports = {
        "plain": ({}, None),
        "starttls": ({"tls_context": context, "require_starttls": True, "auth_required": True}, None),
        # aiosmtpd takes "TLS" to mean STARTTLS, which a port that is encrypted from the start does not need.
        "tls": ({"auth_required": True, "auth_require_tls": False}, context),
    }
    loop = asyncio.get_running_loop()
    servers = []
    for name, (options, wrapped) in ports.items():

        def session(name=name, options=options):
            mailbox = Mailbox(config["mailbox"], name)
            return SMTP(mailbox, hostname=config["hostname"], authenticator=authenticate, enable_SMTPUTF8=True, **options)

        servers.append(await loop.create_server(session, "127.0.0.1", config[f"{name}_port"], ssl=wrapped))
    await asyncio.gather(*(server.serve_forever() for server in servers))


with open(sys.argv[1], encoding="utf-8") as file:
    asyncio.run(main(json.load(file)))
