"""A searchable photo library: pictures of folders and shards, or the products of a catalogue, in LanceDB.

    library = Library.open("photos.lance")
    found = library.search(blip, Query("a dog on the beach"), SearchOptions(limit=10))

Knows files, models and LanceDB. Knows no command line and no HTTP.
"""

from openblip.library.find import Found as Found
from openblip.library.find import Hit as Hit
from openblip.library.index import IndexReport as IndexReport
from openblip.library.index import index_photos as index_photos
from openblip.library.index_items import CatalogueReport as CatalogueReport
from openblip.library.index_items import index_catalogue as index_catalogue
from openblip.library.items import Item as Item
from openblip.library.library import Library as Library
from openblip.library.products import Product as Product
from openblip.library.query import Query as Query
from openblip.library.query import SearchOptions as SearchOptions
from openblip.library.records import Record as Record
from openblip.library.runs import IndexOptions as IndexOptions
