"""Results to those who read them elsewhere: declared receivers, an outbox, and HTTP that keeps secrets.

declared     pyproject.toml → receivers
receiver     what all kinds have in common; generic, squad, kcidb, buildkite are the kinds
material     a finished run, as receivers see it
parcel       what is sent: records
outbox       on the disk before it is sent
sending      attempts, retries, all that waits
http         one request, one answer
command      `invoke publish`, and the end of `invoke ci --publish`
"""
