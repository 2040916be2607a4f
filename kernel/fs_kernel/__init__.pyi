from fs_kernel.errors import ConfigError as ConfigError
from fs_kernel.errors import FacesError as FacesError
from fs_kernel.errors import FsError as FsError
from fs_kernel.errors import ModelFolderError as ModelFolderError
from fs_kernel.errors import PluginError as PluginError
from fs_kernel.errors import TrainingError as TrainingError
from fs_kernel.errors import UsageError as UsageError
from fs_kernel.hookspecs import API_VERSION as API_VERSION
from fs_kernel.hookspecs import hookimpl as hookimpl
from fs_kernel.options import Config as Config
from fs_kernel.options import Interval as Interval
from fs_kernel.options import option as option
from fs_kernel.run import TrainedModel as TrainedModel
from fs_kernel.run import TrainingRun as TrainingRun
from fs_kernel.run import open_model as open_model
from fs_kernel.run import open_run as open_run
from fs_kernel.types import Network as Network
from fs_kernel.types import NetworkSpec as NetworkSpec
from fs_kernel.types import Output as Output

__version__: str
