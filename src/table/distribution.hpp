// What Citus has distributed over several nodes. No queue can be distributed: its jobs would be
// rows of tables with other names, on other nodes, which neither its triggers' reports nor the
// scheduler of this node reaches.
//
// Citus is not needed to compile or to run the library. Its catalogs are found by name, and where
// there are none, a question costs one look-up in the catalog cache.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// Returns whether Citus distributes the table: as shards, or as a copy on each node.
bool is_distributed_table(Oid table);

// Returns whether Citus distributes the tables that are made in the schema.
bool is_distributed_schema(Oid schema);

// Raises ERROR 0A000 if the table, which has this name, is distributed.
void refuse_distributed_table(Oid table, const char *name);

// Raises ERROR 0A000 if the schema, in which a queue of this name is to be made, is distributed.
void refuse_distributed_schema(Oid schema, const char *queue);

} // namespace ecto_job
