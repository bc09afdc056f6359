"""What training code logged and the server has not got yet: kept in files, sent by a thread, lost by no kill.

segment    one file: records appended by one process, deleted when the last of them was delivered
batch      records -> the requests that carry them
delivery   sends one segment's batches; what the server will never accept is set aside and reported
sender     the thread of one run: sends, and keeps trying
outbox     what the training loop calls: append, wait when full, flush, close
leftovers  finds and sends the segments of processes that are gone
"""
