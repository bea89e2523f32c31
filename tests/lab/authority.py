"""Certificates for tests, of an authority of their own."""

import subprocess
from pathlib import Path

_CONFIGURATION = """
[ca]
default_ca = here
[here]
database = index.txt
serial = serial.txt
unique_subject = no
new_certs_dir = .
default_md = sha256
policy = any
[any]
organizationName = optional
commonName = optional
"""
_CURVE = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
CLIENT = "extendedKeyUsage=clientAuth"
SERVER = "extendedKeyUsage=serverAuth,clientAuth"


class Authority:
    """An authority whose files are in `folder`: <name>.pem and <name>.key, its own ones ca.pem and ca.key."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "ca.cnf").write_text(_CONFIGURATION)
        (self.folder / "index.txt").touch()
        self.found("ca")

    def found(self, name):
        """Makes an authority of this name, with its own certificate."""
        self._openssl(f"req -x509 {_CURVE} -subj /CN=test-{name} -days 2 -keyout {name}.key -out {name}.pem")

    def issue(self, name, subject, usage, addresses=(), since="20200101000000Z", until="20800101000000Z", ca="ca"):
        """Makes a key and a certificate for IP addresses, valid between two times (YYYYMMDDhhmmssZ)."""
        names = ",".join(f"IP:{address}" for address in addresses)
        extensions = [usage] + ([f"subjectAltName={names}"] if names else [])
        (self.folder / f"{name}.ext").write_text("\n".join(extensions) + "\n")
        self._openssl(f"req {_CURVE} -subj {subject} -keyout {name}.key -out {name}.csr")
        self._openssl(
            f"ca -batch -notext -config ca.cnf -create_serial -cert {ca}.pem -keyfile {ca}.key -in {name}.csr "
            f"-extfile {name}.ext -startdate {since} -enddate {until} -out {name}.pem"
        )

    def outlive(self, name):
        """Makes a certificate of the authority `ca` that was valid until 2020, for the key that it has today."""
        (self.folder / f"{name}.ext").write_text("basicConstraints=critical,CA:TRUE\n")
        self._openssl(f"req -new -key ca.key -subj /CN=test-ca -out {name}.csr")
        self._openssl(
            f"ca -batch -notext -config ca.cnf -create_serial -selfsign -keyfile ca.key -in {name}.csr "
            f"-extfile {name}.ext -startdate 20190101000000Z -enddate 20200201000000Z -out {name}.pem"
        )

    def _openssl(self, command):
        subprocess.run(["openssl", *command.split()], cwd=self.folder, check=True, capture_output=True)
