"""Send the results of a run to services that collect them, over HTTP, without losing a result or a secret.

    receivers     the kinds of receiver, one file each; pyproject.toml declares receivers
    run_data      a finished run, as receivers see it
    payload       the records: what is sent, what is answered
    outbox        what is to be sent, on the disk until it has arrived
    delivery      attempts and retries, for one receiver
    retry         when to try again
    http_client   one request, one answer
    secret        tokens
    template      URLs and names with ``{run}`` and the like in them
    publisher     `invoke publish`, and the end of `invoke ci --publish`

In: a run's folder, and declared receivers. Out: requests to them. Nothing here reads pyproject.toml.
"""
