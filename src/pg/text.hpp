// Cutting and copying of texts, in a database of any encoding.
//
// A database in SQL_ASCII has no characters, but most of its clients take its bytes for UTF-8, and
// PostgreSQL refuses to send them a row with other bytes. So these functions take its bytes for
// UTF-8.
#pragma once

#include "pg/pg.hpp"

namespace ecto_job {

// Returns the text, cut at `limit` bytes or less, at a character's end.
text *clipped_text(const char *from, int length, int limit);

// Copies what fits into `size` bytes, in whole characters. A byte that is no character becomes '?'.
void copy_shown_text(char *to, const char *from, int size);

} // namespace ecto_job
