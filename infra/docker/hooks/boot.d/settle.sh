#!/bin/sh
# When LocalStack starts: if the last stop was not clean, create a mark. The deploy step then fills the window and
# deletes the mark. The step is not root, so it gets the folder to be able to delete there.
running=/var/lib/localstack/running
if [ -e "$running" ]; then touch /state/unsettled; fi
touch "$running"
chown 10001 /state
