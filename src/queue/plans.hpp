// One saved plan per queue and statement, made at its first use in a session.
#pragma once

#include "pg/pg.hpp"
#include "queue/queue.hpp"

namespace ecto_job {

// What a statement is: its text with {table}, {job} and {touch} to be filled in (transitions.cpp
// says what they stand for), and the types of its parameters.
struct StatementSource {
    const char *text;
    int parameters;
    Oid types[6];
    // Plan with index scans wherever there is one. A generic plan made while the queue was empty
    // must still be right with a million jobs waiting, so claims do not ask the statistics.
    bool by_index;
};

// The plan, valid and checked to act on this queue's own table. SPI is connected.
SPIPlanPtr plan_for(Queue *queue, Statement statement, const StatementSource &source);

// ERROR 55000 if the plan acts on another table than the queue's. For after its execution too,
// which may have parsed the text anew: the ERROR undoes what was done.
void require_own_table(const Queue *queue, SPIPlanPtr plan);

} // namespace ecto_job
