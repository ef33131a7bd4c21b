#!/bin/sh
# LocalStack stops cleanly: what it has been told is on disk.
rm -f /var/lib/localstack/running
