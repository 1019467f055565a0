"""The fast path from Python, as the documentation shows it: prints one line for each certificate.

    reader.py LIBRARY FOLDER INSTANCE FILE...
"""
import sys

sys.path.insert(0, sys.path[0])
from careg_python import Careg  # noqa: E402  (the documentation's code, written beside this file by the test)

library, folder, instance, *files = sys.argv[1:]
with Careg(instance, runtime_dir=folder, library=library) as trust:
    for file in files:
        with open(file, "rb") as stream:
            der = stream.read()
        code, verdict = trust.check(der)
        if code != 0:
            code, verdict = trust.verify([der])
        session = trust.session_reason(verdict.session) if code == 0 else None
        print(code, verdict.reason, verdict.ca_sn.decode(), session)
