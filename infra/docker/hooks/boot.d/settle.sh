#!/bin/sh
# LocalStack starts. If it did not stop cleanly before, say so: the deploy step then starts with a full window,
# and takes the mark away. The step is not root: it may delete here because the folder is made its own.
running=/var/lib/localstack/running
if [ -e "$running" ]; then touch /state/unsettled; fi
touch "$running"
chown 10001 /state
