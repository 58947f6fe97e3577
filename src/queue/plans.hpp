// One saved plan per queue and statement, made at its first use in a session.
#pragma once

#include "pg/pg.hpp"
#include "queue/queue.hpp"

namespace ecto_job {

// How a statement finds its rows
enum class Scan {
    statistics, // choose
    // By an index wherever there is one. A generic plan made while the queue was empty must still
    // be right with a million jobs waiting, so claims do not ask the statistics.
    index,
    own_index // the same where the table has our indexes; of others' we know of none that serves
};

// What a statement is: its text with placeholders to be filled in for a table (statements.cpp says
// what they stand for), and the types of its parameters.
struct StatementSource {
    const char *text;
    int parameters;
    Oid types[10];
    Scan scan;
};

const StatementSource &source_of(Statement statement);

// The plan, valid and checked to act on this queue's own table. SPI is connected.
SPIPlanPtr plan_for(Queue *queue, Statement statement);

// ERROR 55000 if the plan acts on another table than the queue's. For after its execution too,
// which may have parsed the text anew: the ERROR undoes what was done.
void require_own_table(const Queue *queue, SPIPlanPtr plan);

} // namespace ecto_job
