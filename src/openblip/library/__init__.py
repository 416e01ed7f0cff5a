"""A searchable photo library: pictures of folders and shards, their vectors and captions in LanceDB.

    library = Library.open("photos.lance")
    found = library.search(blip, Query("a dog on the beach"), SearchOptions(limit=10))

Knows files, models and LanceDB. Knows no command line, no HTTP and no catalogue of products.
"""

from openblip.library.find import Found as Found
from openblip.library.find import Hit as Hit
from openblip.library.index import IndexOptions as IndexOptions
from openblip.library.index import IndexReport as IndexReport
from openblip.library.index import index_photos as index_photos
from openblip.library.library import Library as Library
from openblip.library.query import Query as Query
from openblip.library.query import SearchOptions as SearchOptions
from openblip.library.records import Record as Record
