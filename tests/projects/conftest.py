"""The folders here are projects of their own: they run in copies, as inner runs."""

collect_ignore_glob = ["*"]
