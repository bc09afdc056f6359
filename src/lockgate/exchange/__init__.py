"""Coming from MLflow's servers and stores, and leaving to them: everything is copied over MLflow's own protocol.

    source: Endpoint ── pages ──► Copy ──► Destination      lockgate import: ours, which keeps the ids
                                   │                        lockgate export: any server of the protocol
                                   └─► verify: what was read from the source, counted again at the destination

Every copy carries tags (`marks`) that say what it is a copy of, and a run or model also what was copied. They are the
whole memory of a copy: killed at any instant, it goes on with the same command, from any machine, and makes no doubles.
"""
