import os

import app

if not os.path.islink("linked.sqlite3"):
    os.symlink("app.sqlite3", "linked.sqlite3")
assert app.at_import  # opened its file when it was imported
