// The table that create_queue() makes: its columns, storage options, indexes, triggers and
// comments.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

struct NewTable {
    const char *schema;
    const char *table;
    bool binary;             // params are bytea, not jsonb
    bool ectojob;            // EctoJob's library works on the table too
    const char *inserted_at; // null pointer: no such column
    const char *updated_at;
    const char *timestamp_type;
    int32 timestamp_typmod;
};

// Creates the table with the caller's rights, and returns it. SPI is connected. The registry is not
// written here.
Oid create_table(const NewTable &queue);

} // namespace ecto_job
