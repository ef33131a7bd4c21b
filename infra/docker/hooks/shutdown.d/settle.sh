#!/bin/sh
# When LocalStack stops cleanly: its state is on disk.
rm -f /var/lib/localstack/running
