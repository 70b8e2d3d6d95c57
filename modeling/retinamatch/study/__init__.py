"""Studies: thousands of visits, registered eye by eye, resumable, on one machine or a cluster.

plan            the table of a study from names of files, or from DICOM
table, units    what it holds, and the pairs that it asks for, in units of work
work            what a process does: read, register, put the outcome into a row
journal         the rows on disk, line by line, and the table made of them
report          one HTML file of all of it
run             all together, on this machine; what is done is not done again
"""

from .cluster import cluster_engine
from .plan import plan_from_dicom, plan_from_names
from .run import Study, default_processes, local_engine, run_study
from .table import Pair, Photograph, StudyError, read_table, write_table
from .units import CHOICES, FIRST
from .work import Settings


__all__ = [
    "CHOICES",
    "FIRST",
    "Pair",
    "Photograph",
    "Settings",
    "Study",
    "StudyError",
    "cluster_engine",
    "default_processes",
    "local_engine",
    "plan_from_dicom",
    "plan_from_names",
    "read_table",
    "run_study",
    "write_table",
]
